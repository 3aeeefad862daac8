"""A small shop whose pages are answered by querycache."""
