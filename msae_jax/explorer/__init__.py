"""One HTML file in which a latent space can be touched: it opens anywhere and needs no network."""

from msae_jax.explorer.content import Request, SeriesData, content
from msae_jax.explorer.page import html_of, write

__all__ = ["Request", "SeriesData", "content", "html_of", "write"]
