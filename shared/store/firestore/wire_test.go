package firestore

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wire is between a store and the emulator: it counts the calls, and does to them what a test wants.
type wire struct {
	mu    sync.Mutex
	calls []string

	// refuse, if not nil, may answer a call instead of the emulator. lose may take its place once the
	// emulator has answered.
	refuse, lose func(method string) error
}

func (w *wire) option() []option.ClientOption {
	return []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(w.unary)),
		option.WithGRPCDialOption(grpc.WithChainStreamInterceptor(w.stream)),
	}
}

func (w *wire) unary(
	ctx context.Context,
	method string,
	req, reply any,
	conn *grpc.ClientConn,
	do grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	method = w.saw(method)
	if err := ask(w.refuse, method); err != nil {
		return err
	}
	if err := do(ctx, service+method, req, reply, conn, opts...); err != nil {
		return err
	}
	return ask(w.lose, method)
}

func (w *wire) stream(
	ctx context.Context,
	desc *grpc.StreamDesc,
	conn *grpc.ClientConn,
	method string,
	do grpc.Streamer,
	opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	method = w.saw(method)
	if err := ask(w.refuse, method); err != nil {
		return nil, err
	}
	return do(ctx, desc, conn, service+method, opts...)
}

const service = "/google.firestore.v1.Firestore/"

func (w *wire) saw(method string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	method = method[strings.LastIndex(method, "/")+1:]
	w.calls = append(w.calls, method)
	return method
}

func ask(f func(string) error, method string) error {
	if f == nil {
		return nil
	}
	return f(method)
}

// since returns the calls since it was last called, as "Method Method".
func (w *wire) since() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return strings.Join(calls, " ")
}

// first fails the first n calls of a method with that code.
func first(n int, method string, code codes.Code) func(string) error {
	var mu sync.Mutex
	return func(m string) error {
		mu.Lock()
		defer mu.Unlock()
		if m != method || n == 0 {
			return nil
		}
		n--
		return status.Error(code, fmt.Sprint("planted in ", method))
	}
}

// then runs f once, before the first error that plant tells.
func then(plant func(string) error, f func()) func(string) error {
	once := sync.OnceFunc(f)
	return func(m string) error {
		err := plant(m)
		if err != nil {
			once()
		}
		return err
	}
}
