// Package server puts the handlers behind an HTTP server.
package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"go-server/internal/config"
	"go-server/internal/handler"
	"go-server/internal/notes"
)

// Router returns the whole service as one handler. Every request is told to log at level debug.
func Router(config config.Config, log *slog.Logger) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.Use(requestLog(log), gin.Recovery())

	router.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "%s\n", config.Greeting) })
	router.GET("/health", handler.Health(config))

	api := handler.Notes{Store: notes.NewStore(config.NotesLimit, time.Now)}
	router.GET("/notes", api.List)
	router.POST("/notes", api.Create)
	router.GET("/notes/:id", api.Get)
	router.DELETE("/notes/:id", api.Delete)
	return router
}

func requestLog(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		c.Next()
		log.Debug("request", "method", c.Request.Method, "path", c.Request.URL.Path,
			"status", c.Writer.Status(), "duration", time.Since(start))
	}
}
