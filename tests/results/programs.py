"""Cells that several experiments share."""

# S. Hochreiter, J. Schmidhuber: Long short-term memory. Neural Computation 9(8), 1997: no forget gate.
LSTM_1997 = """
cell lstm_1997(n, bias = -1)(x) {
    param Wi, Wg, Wo : [n, dim(x)]
    param Ui, Ug, Uo : [n, n]
    param bi, bo     : [n] = bias
    param bg         : [n] = 0

    i = sigmoid(Wi @ x + Ui @ h[t-1] + bi)
    o = sigmoid(Wo @ x + Uo @ h[t-1] + bo)
    g = 4 * sigmoid(Wg @ x + Ug @ h[t-1] + bg) - 2
    c = c[t-1] + i * g
    h = o * (2 * sigmoid(c) - 1)
    return h
}
"""
