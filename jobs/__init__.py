"""Entry points: the `video2lora` command and one module a job."""
