"""What crosses a border of the house: one type each, defined once, with units and shapes. Imports nothing above."""
