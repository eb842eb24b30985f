package handler

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"go-server/internal/notes"
)

// maxBody is the most that a request may send, in bytes: the longest note, each byte escaped, and its frame.
const maxBody = 6*notes.MaxLength + 100

// Notes is the small in-memory notes API.
type Notes struct {
	Store *notes.Store
}

// List answers 200 with every note, oldest first.
func (h Notes) List(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{"notes": h.Store.All()})
}

// Create answers 201 with the new note and its Location.
func (h Notes) Create(c *gin.Context) {
	var body struct {
		Text string `json:"text"`
	}
	// encoding/json and not Gin's own binding, which links every format it knows: 9 MB more for one small object
	if err := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody)).Decode(&body); err != nil {
		c.JSON(http.StatusBadRequest, gin.H{"error": `the body must be JSON like {"text": "buy milk"}`})
		return
	}
	note, err := h.Store.Add(body.Text)
	if err != nil {
		fail(c, err)
		return
	}
	c.Header("Location", "/notes/"+strconv.Itoa(note.ID))
	c.JSON(http.StatusCreated, note)
}

// Get answers 200 with one note.
func (h Notes) Get(c *gin.Context) {
	note, err := h.Store.Get(number(c))
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, note)
}

// Delete answers 204 once the note is gone.
func (h Notes) Delete(c *gin.Context) {
	if err := h.Store.Remove(number(c)); err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// number is the :id of the path; 0, which no note has, if it is not a number.
func number(c *gin.Context) int {
	id, err := strconv.Atoi(c.Param("id"))
	if err != nil {
		return 0
	}
	return id
}

func fail(c *gin.Context, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, notes.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, notes.ErrText):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, notes.ErrFull):
		status = http.StatusInsufficientStorage
	}
	c.JSON(status, gin.H{"error": err.Error()})
}
