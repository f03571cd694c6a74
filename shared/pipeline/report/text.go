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

// The errors of [ReadAll] that are not those of what it reads from.
var (
	ErrTooLarge = errors.New("it is larger than is read")
	ErrPacked   = errors.New("it is compressed and cannot be unpacked")
)

// ReadAll reads at most limit bytes and returns them as [Text] does. What begins like gzip is unpacked, to at most limit bytes
// too, whether it was asked for or not: no JSON begins like that. The error wraps ErrTooLarge, ErrPacked or the reader's.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	source := &limitedReader{Reader: r, left: limit, limit: limit}
	begun := bufio.NewReader(source)
	magic, _ := begun.Peek(2) // what it fails with, the next reading fails with
	var text []byte
	var err error
	if string(magic) == "\x1f\x8b" {
		text, err = unpack(begun, limit)
		var corrupt flate.CorruptInputError
		if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) && source.ended {
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

// limitedReader is an io.LimitedReader that tells the end from the limit.
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

// nonFinite finds the numbers that Python's json.dumps writes and JSON does not know, and strings, in which they are none.
var nonFinite = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// Text returns what a pipeline sent as UTF-8 without a byte order mark and space around it: from UTF-16 if its mark says so,
// with U+FFFD for what is not valid. If that makes it JSON, NaN and infinite numbers are null. It may return a part of data.
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
