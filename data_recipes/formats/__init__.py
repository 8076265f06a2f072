"""Records in other people's formats: Parquet and `datasets`, LLaVA conversations, ms-swift messages."""
