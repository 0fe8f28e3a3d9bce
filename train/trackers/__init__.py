"""Where a run's curve is told while it is trained: TensorBoard, MLflow, Weights & Biases. One file a vendor."""
