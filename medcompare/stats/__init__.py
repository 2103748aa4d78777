"""The statistics and the verdict. Nothing here imports torch or Prefect."""
