"""Every layer four times: loops, NumPy, TensorFlow, and the layer that trains; each proved equal to the next."""
