package cost

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

//go:embed prices.csv
var priceTable string

// Price is a list price in us-central1, without what is free each month.
type Price struct {
	Name     string
	USD      float64 // of one unit
	Unit     string
	Source   string
	AsOf     string // the day of the look-up
	Verified string // whether the figure was read at its source
}

// Prices returns the prices by name.
func Prices() (map[string]Price, error) {
	rows, err := csv.NewReader(strings.NewReader(priceTable)).ReadAll()
	if err != nil {
		return nil, err
	}
	prices := map[string]Price{}
	for _, row := range rows[1:] {
		usd, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return nil, fmt.Errorf("the price of %s: %w", row[0], err)
		}
		per, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			return nil, fmt.Errorf("the unit of %s: %w", row[0], err)
		}
		prices[row[0]] = Price{Name: row[0], USD: usd / per, Unit: row[3],
			Source: row[4], AsOf: row[5], Verified: row[6]}
	}
	return prices, nil
}
