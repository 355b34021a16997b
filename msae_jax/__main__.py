"""`python -m msae_jax`."""

import sys

from msae_jax.cli import main

sys.exit(main())
