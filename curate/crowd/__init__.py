"""People answer: pictures become questions, and answers become votes."""
