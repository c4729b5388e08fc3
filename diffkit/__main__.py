"""``python -m diffkit`` is ``diffkit``."""

from diffkit.cli.main import main

if __name__ == "__main__":
    main()
