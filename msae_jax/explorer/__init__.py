"""One HTML file in which a latent space can be touched: it opens anywhere and needs no network."""

from msae_jax.explorer.page import html_of, write
from msae_jax.explorer.request import Request, SeriesData, content

__all__ = ["Request", "SeriesData", "content", "html_of", "write"]
