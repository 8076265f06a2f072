"""One rater behind HTTP: ratings, chat in the OpenAI protocol, a web page. Scores come from `rater` as they are."""
