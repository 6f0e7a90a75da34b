"""How time and memory of Graft's own LoRA training grow: with rows, their length, pictures' size, the network."""
