"""`python -m msae_jax`."""

import sys

from msae_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
