"""The commands ``diffkit nll``, ``invert``, ``edit`` and ``inpaint``."""
