package report

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"unicode/utf16"
	"unicode/utf8"
)

// The errors of [ReadAll] besides those of its reader.
var (
	ErrTooLarge = errors.New("it is larger than is read")
	ErrPacked   = errors.New("it is compressed and cannot be unpacked")
)

// ReadAll reads at most limit bytes and normalizes them with [Text]. It unpacks gzip, to at most
// limit bytes too, even if the client did not ask for it. No JSON starts with the magic bytes of
// gzip. The error wraps ErrTooLarge, ErrPacked or the error of the reader.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	source := &limitedReader{Reader: r, left: limit, limit: limit}
	begun := bufio.NewReader(source)
	magic, _ := begun.Peek(2) // the next read returns the same error
	var text []byte
	var err error
	if string(magic) == "\x1f\x8b" {
		text, err = unpack(begun, limit)
		var corrupt flate.CorruptInputError
		if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) ||
			errors.Is(err, io.ErrUnexpectedEOF) && source.ended {
			err = ErrPacked
		}
	} else {
		text, err = io.ReadAll(begun)
	}
	if err != nil {
		return nil, err
	}
	return Text(text), nil
}

func unpack(r io.Reader, limit int64) ([]byte, error) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(&limitedReader{Reader: unpacked, left: limit, limit: limit})
}

// limitedReader is an io.LimitedReader that distinguishes the end of the input from the limit.
type limitedReader struct {
	io.Reader
	left, limit int64
	ended       bool
}

func (r *limitedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.Reader.Read(p)
	if int64(n) > r.left {
		return int(r.left), fmt.Errorf("%w: more than %d bytes", ErrTooLarge, r.limit)
	}
	r.left -= int64(n)
	r.ended = err == io.EOF
	return n, err
}

// nonFinite matches the non-finite numbers that Python's json.dumps writes and JSON forbids. It
// also matches strings, so that text in a string is not taken for a number.
var nonFinite = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// Text returns the data as UTF-8, without a byte order mark and without surrounding space. It
// converts UTF-16 if the byte order mark says so. Invalid text becomes U+FFFD. If that makes the
// data valid JSON, NaN and infinite numbers become null. The result may share memory with data.
func Text(data []byte) []byte {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		data = data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		data = fromUTF16(data[2:], binary.LittleEndian)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		data = fromUTF16(data[2:], binary.BigEndian)
	}
	data = bytes.TrimSpace(data)
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	if (bytes.Contains(data, []byte("NaN")) || bytes.Contains(data, []byte("Infinity"))) && !json.Valid(data) {
		finite := nonFinite.ReplaceAllFunc(data, func(found []byte) []byte {
			if found[0] == '"' {
				return found
			}
			return []byte("null")
		})
		if json.Valid(finite) {
			return finite
		}
	}
	return data
}

func fromUTF16(data []byte, order binary.ByteOrder) []byte {
	text := make([]byte, 0, len(data))
	for ; len(data) >= 2; data = data[2:] {
		r := rune(order.Uint16(data))
		if utf16.IsSurrogate(r) && len(data) >= 4 {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(data[2:]))); pair != utf8.RuneError {
				r, data = pair, data[2:]
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text
}
