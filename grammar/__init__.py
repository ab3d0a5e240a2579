"""The language: its grammar, its reference, its standard cells. Only data lives here."""
