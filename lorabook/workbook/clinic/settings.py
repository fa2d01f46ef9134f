"""The settings of the runs in cases 9 to 10 that notebook 08 shows only after its questions."""

settings = {"case 9": {"lr": 5e-2}, "case 10": {"lr": 5e-5}}  # 5e-5: the default of Transformers' TrainingArguments
