"""What a run is asked to do: the settings, the named recipes, the command line. No TensorFlow here."""
