package googlefake

import (
	"fmt"
	"net/http"
)

// apiError is an answer that is an error, in the form that Google's APIs have in common.
type apiError struct {
	code    int
	status  string
	message string
	details []any
}

func (e *apiError) Error() string { return e.status + ": " + e.message }

// json is the body of the answer. Both the newer APIs' status and the older ones' reason are in it.
func (e *apiError) json() obj {
	body := obj{
		"code": e.code, "message": e.message, "status": e.status,
		"errors": []any{obj{"message": e.message, "domain": "global", "reason": reasons[e.code]}},
	}
	if e.details != nil {
		body["details"] = e.details
	}
	return obj{"error": body}
}

var (
	reasons = map[int]string{
		http.StatusBadRequest: "invalid", http.StatusForbidden: "forbidden", http.StatusNotFound: "notFound",
		http.StatusConflict: "alreadyExists", http.StatusTooManyRequests: "rateLimitExceeded",
	}
	statuses = map[int]string{
		http.StatusBadRequest: "INVALID_ARGUMENT", http.StatusUnauthorized: "UNAUTHENTICATED", http.StatusForbidden: "PERMISSION_DENIED",
		http.StatusNotFound: "NOT_FOUND", http.StatusConflict: "ABORTED", http.StatusTooManyRequests: "RESOURCE_EXHAUSTED",
		http.StatusInternalServerError: "INTERNAL", http.StatusServiceUnavailable: "UNAVAILABLE",
	}
)

func notFound(name string) error {
	return &apiError{code: http.StatusNotFound, status: "NOT_FOUND", message: fmt.Sprintf("Resource '%s' was not found", name)}
}

func exists(name string) error {
	return &apiError{code: http.StatusConflict, status: "ALREADY_EXISTS", message: fmt.Sprintf("Resource '%s' already exists", name)}
}

func invalid(format string, args ...any) error {
	return &apiError{code: http.StatusBadRequest, status: "INVALID_ARGUMENT", message: fmt.Sprintf(format, args...)}
}

func precondition(format string, args ...any) error {
	return &apiError{code: http.StatusBadRequest, status: "FAILED_PRECONDITION", message: fmt.Sprintf(format, args...)}
}

func denied(format string, args ...any) error {
	return &apiError{code: http.StatusForbidden, status: "PERMISSION_DENIED", message: fmt.Sprintf(format, args...)}
}

func aborted(format string, args ...any) error {
	return &apiError{code: http.StatusConflict, status: "ABORTED", message: fmt.Sprintf(format, args...)}
}
