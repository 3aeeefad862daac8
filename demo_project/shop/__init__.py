"""The shop: what it sells, who buys it and the pages that show it."""
