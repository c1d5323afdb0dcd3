"""Running networks: ONNX Runtime, transformers, threads."""
