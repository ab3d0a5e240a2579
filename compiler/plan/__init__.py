"""Graph to schedule: what runs when, by which threads, and where every value lives."""
