"""How far diabetes advances within a year, by an elastic net."""
