"""Video2LoRA (2603.08210): a hypernetwork predicts a LightLoRA from a reference video."""
