"""Real data as batches of streams: text, arrays, tables, sound."""
