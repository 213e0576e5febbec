"""Whether a machine, a catalogue and a cluster are fit for the work that a profile asks for."""
