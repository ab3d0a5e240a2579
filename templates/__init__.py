"""Jinja2 templates of everything that is generated. Only data lives here."""
