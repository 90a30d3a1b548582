"""What a results folder tells: leaderboard, intervals on test, diagnostics, the answer."""
