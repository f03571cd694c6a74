package console

var (
	EncodeCursor = encodeCursor
	DecodeCursor = decodeCursor
	DurationWord = durationWord
	AgeWord      = ageWord
	Shown        = shown
)
