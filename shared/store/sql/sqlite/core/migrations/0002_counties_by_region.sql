-- Purpose: finds the counties of a region: the activity of a region asks for them (find_region).
-- Parameters: none. Result: none. Runs with the table's own making: tables of the customer's get no index.
CREATE INDEX counties_by_region ON counties (region_id);
