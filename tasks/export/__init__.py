"""Registered models as folders that other programs load: peft, transformers' pipelines and timm, each without Graft."""
