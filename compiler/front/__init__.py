"""The front: a `.rnn` text becomes a syntax tree with a span on every node."""
