"""Networks that make pictures from noise, or score them."""
