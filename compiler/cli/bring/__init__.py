"""`rnnc import`: what other frameworks learned. Weights for a program, or a whole network as a program of its own.

    command      the arguments, and which of the ways is meant
    states       a file of PyTorch or safetensors -> arrays by name
    foreign      arrays as PyTorch names them -> the parameters of a program
    file         an ONNX file -> a plain graph of nodes
    cells        the arrays of an LSTM, GRU or RNN of ONNX -> the parameters of a cell
    modules      a graph's weights -> the parameters of a program
    values       what is known of a value of the graph: which axes are time, batch, units; the units themselves
    draft        the program that is being written
    calls        one node with its arguments, as the rules below are given it
    shuffles, units, reductions, products, windows, recurrent     what the operators mean, each kind in a file
    reading      the graph, node by node, into a draft
    roles        which axes of the inputs are time and batch
    goal         a target and a loss for what was read
    standard     a state dict of one recurrent module and a linear one -> a program
"""

from rnnc.cli.bring.command import add

__all__ = ["add"]
