"""The settings that notebook 08 shows only after its questions."""

# 5e-5 is the default of Transformers' TrainingArguments.
settings = {"healthy run": {"lr": 5e-3}, "case 9": {"lr": 5e-2}, "case 10": {"lr": 5e-5}}
