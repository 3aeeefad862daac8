"""What joins querycache to other projects. Each module needs an extra, and is imported by you."""
