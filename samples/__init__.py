"""Programs to start from; `rnnc train charlm` finds them by name. Only data lives here."""
