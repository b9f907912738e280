"""One module per training method, named as in the API; `alignment_trainer.registry.MethodModule` says what each has."""
