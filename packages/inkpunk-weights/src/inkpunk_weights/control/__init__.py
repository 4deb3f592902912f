"""Control networks: ControlNets and T2I-Adapters, files to named tensors, and back."""
