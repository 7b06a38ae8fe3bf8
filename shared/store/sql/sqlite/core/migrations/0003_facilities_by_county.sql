-- Purpose: finds the facilities of a county: the activity of a region asks for them (find_region).
-- Parameters: none. Result: none. Runs with the table's own making: tables of the customer's get no index.
CREATE INDEX facilities_by_county ON facilities (county_id);
