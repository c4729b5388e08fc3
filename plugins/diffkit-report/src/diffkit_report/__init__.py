"""What became of diffkit's runs: ``diffkit compare RUN…`` and ``diffkit report RUN``."""
