"""Networks: each is written as an ONNX graph from its original weights, which are arrays."""
