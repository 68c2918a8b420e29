"""Foreign network files to ONNX, once, at pull time. Needs only numpy and onnx."""
