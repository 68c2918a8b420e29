"""``python -m whim`` is the ``whim`` command."""

from whim.cli import main

raise SystemExit(main())
