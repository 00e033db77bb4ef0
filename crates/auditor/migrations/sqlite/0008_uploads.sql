-- How many segments were staged, so that the next is refused in time; and uploads that are being dropped piece by piece.
ALTER TABLE upload ADD COLUMN segments INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN given_up INTEGER NOT NULL DEFAULT 0;
UPDATE upload SET segments =
    (SELECT COUNT(*) FROM segment WHERE segment.upload = upload.id AND segment.committed = 0);
