"""Tab completion: ``diffkit completion SHELL`` prints a script, which asks ``diffkit completion words`` for more."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from diffkit import catalog
from diffkit.errors import DiffkitError
from diffkit.kinds import KINDS

SCRIPTS = {
    "bash": """\
_diffkit() {
    local line word
    line="${COMP_LINE:0:COMP_POINT}"
    word="${line##*[[:space:]]}"
    mapfile -t COMPREPLY < <(diffkit completion words "${COMP_WORDS[1]}" "$word" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
    [[ ${#COMPREPLY[@]} -gt 1 ]] && compopt -o nospace
    # Bash splits words at '=', so only what follows the last one is replaced.
    [[ $word == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%%=*}"=}")
}
complete -F _diffkit diffkit
""",
    "zsh": """\
#compdef diffkit
_diffkit() {
    local -a found
    found=("${(@f)$(diffkit completion words "${words[2]}" "${words[CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- $found
}
compdef _diffkit diffkit
""",
    "fish": """\
function __diffkit
    set -l words (commandline -opc) ''
    diffkit completion words "$words[2]" (commandline -ct) 2>/dev/null
end
complete -c diffkit -f -a '(__diffkit)'
""",
}
INSTALL = {
    "bash": 'eval "$(diffkit completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(diffkit completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "diffkit completion fish | source    # in ~/.config/fish/config.fish",
}


def completion(words: Sequence[str]) -> int:
    """Print the script for a shell, or the candidates for a word."""
    match list(words):
        case [shell] if shell in SCRIPTS:
            print(SCRIPTS[shell], end="")
        case ["words", first, word]:
            print("\n".join(candidates(first, word)))
        case _:
            ways = "\n".join(f"  {line}" for line in INSTALL.values())
            raise DiffkitError(
                f"diffkit completion needs a shell: bash, zsh or fish; put one of these into place:\n{ways}"
            )
    return 0


def candidates(first: str, word: str) -> list[str]:
    """Return what ``word`` can become, where ``first`` is the first word after ``diffkit`` (perhaps the same one)."""
    return sorted({c for c in _all(first, word) if c.startswith(word)})


def _all(first: str, word: str) -> Iterator[str]:
    sign = word[: len(word) - len(word.lstrip("+"))]
    bare = word[len(sign) :]
    kind, dot, _ = bare.partition(".")
    groups = [kind.name for kind in KINDS.values() if kind.group]
    if "=" in bare:
        group = bare.partition("=")[0]
        if group in groups:
            before = bare[: max(bare.rfind("="), bare.rfind(",")) + 1]
            yield from (f"{sign}{before}{name}" for name in catalog.names(group))
    elif dot and kind in groups:
        yield from (f"{sign}{kind}.{option}=" for option in _options(kind))
    else:
        if first == word:
            yield from catalog.names("command")
            yield from ("--help", "--version", "--cfg", "--multirun")
        elif first == "plugins":
            yield from ("list", "info", "--json", *(e.name for k in KINDS for e in catalog.entries(k)))
        elif first in catalog.names("command"):
            yield from _runs()
        yield from (f"{sign}{group}=" for group in groups)
        yield from (f"{sign}{key}=" for key in _keys())


def _options(kind: str) -> set[str]:
    """Return the options of every component of a kind: which one is chosen may stand in a recipe."""
    found: set[str] = set()
    for entry in catalog.entries(kind):
        with suppress(DiffkitError):  # one that is broken says so when it is chosen
            found.update(option.name for option in catalog.options(entry.load()))
    return found


def _keys() -> Iterator[str]:
    from diffkit.config.settings import Sample, Settings, Train

    yield from (name for name in vars(Settings()) if name not in ("train", "sample"))
    yield from (f"train.{name}" for name in vars(Train()))
    yield from (f"sample.{name}" for name in vars(Sample()))


def _runs() -> Iterator[str]:
    yield "last"
    yield from (str(path.parent) for path in Path("runs").glob("*/*/config.yaml"))
